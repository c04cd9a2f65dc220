module proof

go 1.22
