"""What the tests share: the reference, random problems, tables of arguments, hostile calls."""
