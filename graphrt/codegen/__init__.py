"""Loop IR to LLVM IR text to object code."""
