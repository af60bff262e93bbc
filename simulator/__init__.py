"""Time: arrivals, queues, links, batteries, grids, policies; the scenario file and the command."""
