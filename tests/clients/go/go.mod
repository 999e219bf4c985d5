module lastcall.dev/clients

go 1.25.0
