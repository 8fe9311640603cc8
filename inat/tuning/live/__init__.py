"""The page that shows a search while it runs, in its own terminal or by `inat watch` in another one."""
