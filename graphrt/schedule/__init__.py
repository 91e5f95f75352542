"""Graph to kernels: fusion, layouts, order, memory plan."""
