// SPDX-License-Identifier: LGPL-3.0-or-later

package jsonhex

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/ethereum/go-ethereum/common/hexutil"
)

// What is appended is what go-ethereum encodes, and sizes are exact.
func TestSameAsHexutil(t *testing.T) {
	lists := [][]hexutil.Bytes{{}, {{}}, {nil, {0}, {1, 0xff}}, {make([]byte, 100_000), {7}}}
	for _, list := range lists {
		want, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		got := AppendList([]byte("x"), list)
		if string(got) != "x"+string(want) {
			t.Errorf("got %.100s, want %.100s", got, want)
		}
		if size := ListSize(list); size < len(want) || size > len(want)+2 {
			t.Errorf("size %d of %d bytes", size, len(want))
		}
		for _, item := range list {
			if got := len(Append(nil, item)); got != Size(len(item)) {
				t.Errorf("size %d, want %d", Size(len(item)), got)
			}
		}
	}
	for _, n := range []uint64{0, 1, 16, 1 << 40, math.MaxUint64} {
		if got := string(AppendUint(nil, n)); got != `"`+hexutil.EncodeUint64(n)+`"` {
			t.Errorf("%d: %s", n, got)
		}
	}
}
