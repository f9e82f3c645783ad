//go:build tools

// Package peers pins the Go programs that the tests talk to: grpc-go's interop client and server, grpcurl,
// h2spec, and the conformance runner of Connect. Nothing here is compiled into Holdfast; test/peers/build.sh builds the programs.
package peers

import (
	_ "connectrpc.com/conformance/cmd/connectconformance"
	_ "github.com/fullstorydev/grpcurl/cmd/grpcurl"
	_ "github.com/summerwind/h2spec/cmd/h2spec"
	_ "google.golang.org/grpc/interop/client"
	_ "google.golang.org/grpc/interop/server"
)
