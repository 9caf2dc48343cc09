"""The schema, one numbered file a step; a file that has been released is never edited."""
