"""The commands of `jaga-node`, a module a group."""
