"""How fast and how large the synchronisation of flows is, beside what people use today: `make bench`."""
