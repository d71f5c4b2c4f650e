module github.com/certwright/certwright/tools/curve

go 1.26.0
