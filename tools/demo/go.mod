module github.com/certwright/certwright/tools/demo

go 1.26.0
