"""Code generators: one module per instruction set, each turns a kernel specification into a Program."""
