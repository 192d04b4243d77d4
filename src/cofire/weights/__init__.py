"""What is read off weights: decompositions of weight matrices, and what they are evidence of."""
