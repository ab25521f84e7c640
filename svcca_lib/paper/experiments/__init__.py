"""One file an idea: trained networks in, arrays out."""
