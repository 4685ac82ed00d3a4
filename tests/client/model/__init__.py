"""A model of the released `drycc` client, as strict as the Go program is. Facts: cli.md, named by section.

What the program forgives is forgiven here (absent keys, null); what makes it fail or panic fails or panics here.
"""
