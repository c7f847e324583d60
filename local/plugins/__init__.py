"""Stand-ins for Pulumi plugins that are released as downloads only, used where the official ones cannot be had.

They are at least as strict as what they stand in for, and the engine says in every run that it takes them from PATH.
"""
