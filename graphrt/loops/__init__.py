"""Loop IR: affine indices, statements, vectorised loops, contraction strategies."""
