"""Which personal data a node holds: every column of every table, and by which mechanism something of it may leave.

Categories are those of Indonesia's personal data law, Law 27 of 2022 (UU PDP), article 4: general data, and specific
data, which include health data and children's. Legal bases are those of its article 20, the record of processing
activities is that of its article 31. What a table's legal basis is in a given institution a lawyer has to confirm.
"""
