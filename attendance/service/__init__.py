"""The web service: routes by resource over one `App`, the networks in a thread of their own."""
