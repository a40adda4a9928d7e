"""The expression language of the filter `where`: text or JSON, a tree, and the test of a message.

`parser` and `document` read the two forms and end in the same tree (`expression`), in its canonical
form (`canonical`): equal trees are one condition, and its text is read as the same tree again.
`matching` makes of it the test that a message must pass. A text is taken apart by `lexer`; names,
values and the smallest conditions are the matter of `fields`, `values` and `leaves`. Whatever is
refused is refused by `bounds.refused`.
"""
