"""Services that tests start for themselves: loopback only, in folders of their own."""
