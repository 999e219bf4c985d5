module lastcall.dev/clients

go 1.21
