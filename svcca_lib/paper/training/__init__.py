"""The paper's networks and the one loop that trains them."""
