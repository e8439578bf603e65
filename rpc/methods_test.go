// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/eth/catalyst"
	"github.com/ethereum/go-ethereum/eth/filters"
	"github.com/ethereum/go-ethereum/eth/tracers"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

const methodsPage = "../docs/json-rpc.md"

// ofGethsNode are the methods that package node of go-ethereum registers itself, so that they cannot be found by reflection.
var ofGethsNode = map[string][]string{
	"admin": {"addPeer", "removePeer", "addTrustedPeer", "removeTrustedPeer", "startHTTP", "startRPC", "startWS", "stopHTTP", "stopRPC", "stopWS", "peers", "nodeInfo", "datadir"},
	"debug": {
		"verbosity", "vmodule", "memStats", "gcStats", "cpuProfile", "startCPUProfile", "stopCPUProfile", "goTrace", "startGoTrace", "stopGoTrace", "blockProfile",
		"setBlockProfileRate", "writeBlockProfile", "mutexProfile", "setMutexProfileFraction", "writeMutexProfile", "writeMemProfile", "stacks", "freeOSMemory",
		"setGCPercent", "setMemoryLimit", "discoveryV4Table",
	},
	"web3": {"clientVersion", "sha3"},
	"rpc":  {"modules"},
}

// later are methods of go-ethereum that are neither answered nor refused yet. Names end with * for all that begin so.
var later = map[string]string{
	"engine_exchangeTransitionConfiguration*": "no consensus client calls it since the merge",
	"eth_subscribeSyncStatus":                 "it is a part of a subscription in geth, and takes no JSON",
}

// gethMethods are the methods that go-ethereum answers.
func gethMethods(t *testing.T) []string {
	t.Helper()
	stack, backend := runGeth(t, mainChain())
	services := map[string][]reflect.Type{
		"eth": {reflect.TypeFor[*filters.FilterAPI]()}, "debug": {reflect.TypeFor[*tracers.API]()}, "engine": {reflect.TypeFor[*catalyst.ConsensusAPI]()},
	}
	for _, api := range backend.APIs() {
		services[api.Namespace] = append(services[api.Namespace], reflect.TypeOf(api.Service))
	}
	names := make(map[string]bool)
	for namespace, methods := range ofGethsNode {
		for _, name := range methods {
			names[namespace+"_"+name] = true
		}
	}
	for namespace, list := range services {
		for _, service := range list {
			for method := range service.Methods() {
				if method.Type.NumOut() > 0 && method.Type.Out(0) == reflect.TypeFor[*gethrpc.Subscription]() {
					continue
				}
				names[namespace+"_"+strings.ToLower(method.Name[:1])+method.Name[1:]] = true
			}
		}
	}
	client := stack.Attach()
	defer client.Close()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(names)), func(method string) bool {
		return strings.HasPrefix(response(client, rpcCall{method: method}), "error -32601")
	})
}

// TestMethodsOfGeth: each method of go-ethereum is answered, or refused with a reason. The page about them has all.
func TestMethodsOfGeth(t *testing.T) {
	methods := gethMethods(t)
	if len(methods) < 150 {
		t.Fatalf("only %d methods", len(methods))
	}
	client := newFakeNode(t).client(t)
	answered := make(map[string][]string)
	for _, method := range methods {
		got := response(client, rpcCall{method: method})
		_, refused := refusals[method]
		switch {
		case strings.HasPrefix(got, "error -32601"):
			if _, listed := laterReason(method); !listed {
				t.Errorf("%s is not answered", method)
			}
		case refused != strings.Contains(got, method+" is not supported: "):
			t.Errorf("%s: %s", method, got)
		case !refused:
			namespace, name, _ := strings.Cut(method, "_")
			answered[namespace] = append(answered[namespace], name)
		}
	}
	for method := range refusals {
		if !slices.Contains(methods, method) {
			t.Errorf("go-ethereum has no %s", method)
		}
	}
	checkMethodsPage(t, answered)
}

func laterReason(method string) (string, bool) {
	for name, reason := range later {
		if prefix, all := strings.CutSuffix(name, "*"); name == method || all && strings.HasPrefix(method, prefix) {
			return reason, true
		}
	}
	return "", false
}

// checkMethodsPage compares the lists in the page with the methods, or writes them if UPDATE_DOCS is set.
func checkMethodsPage(t *testing.T, answered map[string][]string) {
	t.Helper()
	var lists strings.Builder
	lists.WriteString("\n| namespace | methods of geth that are answered |\n|---|---|\n")
	delete(answered, "engine") // for consensus clients
	for _, namespace := range slices.Sorted(maps.Keys(answered)) {
		fmt.Fprintf(&lists, "| `%s` | %s |\n", namespace, strings.Join(answered[namespace], ", "))
	}
	lists.WriteString("\n| refused | why |\n|---|---|\n")
	for _, method := range slices.Sorted(maps.Keys(refusals)) {
		fmt.Fprintf(&lists, "| `%s` | %s |\n", method, refusals[method])
	}
	for _, method := range slices.Sorted(maps.Keys(later)) {
		fmt.Fprintf(&lists, "| `%s` | not yet: %s |\n", method, later[method])
	}
	lists.WriteString("\n")
	const begin, end = "<!-- lists: UPDATE_DOCS=1 go test ./rpc -run TestMethodsOfGeth -->\n", "<!-- end of lists -->\n"
	page, err := os.ReadFile(methodsPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(page), begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for the lists", methodsPage)
	}
	want := before + begin + lists.String() + end + after
	if want == string(page) {
		return
	}
	if os.Getenv("UPDATE_DOCS") == "" {
		t.Fatalf("%s is not up to date: UPDATE_DOCS=1 go test ./rpc -run TestMethodsOfGeth", methodsPage)
	}
	if err := os.WriteFile(methodsPage, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
