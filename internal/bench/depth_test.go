// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"path/filepath"
	"testing"

	"github.com/sunbeam-eth/sunbeam/internal/realdata"
	"github.com/sunbeam-eth/sunbeam/internal/witnessfile"
)

// TestDepth measures small blocks on an empty store, with the code in it, and with the whole state but the siblings of deleted nodes. The depths without code
// are those that the longest chain shows (beambench blocks --depth --explain).
func TestDepth(t *testing.T) {
	for name, want := range map[string][3]int{"1-1150000": {10, 4, 0}, "1-2675000": {7, 3, 1}, "1-22615247": {9, 4, 1}} {
		file, err := witnessfile.Load(filepath.Join(realdata.Dir(t), "blocks", name+".json.gz"))
		if err != nil {
			t.Fatal(err)
		}
		listing := list(t.Context(), file)
		var got [3]int
		for i, trial := range []Trial{{}, {StoredCode: true}, {StoredCode: true, StoredState: StoredState{100, 100}}} {
			trial.File = file
			client := newClient(file)
			if err := trial.fillStore(t.Context(), client); err != nil {
				t.Fatal(err)
			}
			deepest, err := measureDepth(file, listing, newStoredView(client, file))
			if err != nil {
				t.Fatal(err)
			}
			got[i] = deepest.after()
			if chain := chainLength(deepest); chain != got[i] {
				t.Errorf("%s: the chain has %d trips, the depth is %d", name, chain, got[i])
			}
		}
		if got != want {
			t.Errorf("%s: depth %v, want %v", name, got, want)
		}
	}
}

func chainLength(l *level) (n int) {
	for ; l != nil; l = l.from {
		n++
	}
	return n
}
