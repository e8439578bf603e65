// SPDX-License-Identifier: LGPL-3.0-or-later

package rpcdiff

import (
	"strings"
	"testing"
)

// TestAllowed: only what the list names is allowed.
func TestAllowed(t *testing.T) {
	const history = `{"oldestBlock":"0x1","baseFeePerGas":["0x1","0x2"],"gasUsedRatio":[0.5]}`
	fees := Call{Method: "eth_feeHistory"}
	for _, test := range []struct {
		d       Difference
		allowed bool
	}{
		{Difference{fees, history, strings.Replace(history, `"0x2"`, `"0x3"`, 1)}, true},
		{Difference{fees, history, strings.Replace(history, "0.5", "0.6", 1)}, false},
		{Difference{fees, history, strings.Replace(history, `"0x1",`, `"0x2",`, 1)}, false},
		{Difference{fees, history, strings.Replace(history, `,"0x2"`, "", 1)}, false},
		{Difference{Call{Method: "eth_call"}, "error -32602 <nil>: invalid argument 0: a", "error -32602 <nil>: invalid argument 0: b"}, true},
		{Difference{Call{Method: "eth_call"}, "error -32602 <nil>: invalid argument 0: a", "error -32000 <nil>: b"}, false},
		{Difference{Call{Method: "eth_call"}, `"0x"`, `"0x01"`}, false},
		{Difference{Call{Method: "eth_call"}, "error 1 <nil>: x", "error -32603 <nil>: method handler crashed"}, true},
		{Difference{Call{Method: "eth_call"}, `"0x"`, "error -32603 <nil>: method handler crashed"}, false},
	} {
		if reason := Allowed(test.d); (reason != "") != test.allowed {
			t.Errorf("%s: allowed because %q", test.d, reason)
		}
	}
}

// TestGenerator: the same seed makes the same calls, of all methods.
func TestGenerator(t *testing.T) {
	world := &World{Head: 100, Oldest: 50, Pending: true}
	a, b := NewGenerator(world, 7), NewGenerator(world, 7)
	methods := make(map[string]bool)
	for range 2000 {
		x, y := a.Next(), b.Next()
		if x.String() != y.String() {
			t.Fatalf("%s, then %s", x, y)
		}
		methods[x.Method] = true
	}
	if len(methods) != len(Methods()) {
		t.Errorf("calls of %d methods, want %d", len(methods), len(Methods()))
	}
}
