// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rlp"

	"github.com/sunbeam-eth/sunbeam/internal/realdata"
)

func balOptions(dir string) BALsOptions {
	return BALsOptions{Dir: dir, AccountDepth: 9, StorageDepth: 7, NodeBytes: 345, Peers: []int{1, 5, 25}}
}

func TestRealBALs(t *testing.T) {
	opts := balOptions(filepath.Join(realdata.Dir(t), "bals"))
	opts.JSON = true
	var out bytes.Buffer
	if err := BALs(t.Context(), opts, &out); err != nil {
		t.Fatal(err)
	}
	var accounts, slots, lists int
	for dec := json.NewDecoder(&out); dec.More(); lists++ {
		var p BALPlan
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		accounts += p.Accounts
		slots += p.Slots
		if p.Number != uint64(20615532+lists) || p.Paths <= p.Nodes || p.Nodes < p.Accounts+p.Slots/2 || p.Bytes != 345*p.Nodes {
			t.Errorf("%+v", p)
		}
		for i, at := range p.Shared {
			if at.Requests < (p.Paths-1)/512 || at.Seconds < 0.26 || at.Most > p.Bytes {
				t.Errorf("%d: %+v", p.Number, at)
			}
			if before := p.Shared[max(i-1, 0)]; at.Seconds > before.Seconds || at.Most > before.Most {
				t.Errorf("%d: more peers take longer: %+v", p.Number, p.Shared)
			}
		}
	}
	if lists != 30 || accounts != 12389 || slots != 35322 {
		t.Errorf("%d lists, %d accounts, %d slots", lists, accounts, slots)
	}
	opts.JSON = false
	out.Reset()
	if err := BALs(t.Context(), opts, &out); err != nil || !strings.Contains(out.String(), "assumed: 9 nodes") || !strings.Contains(out.String(), "\n     mean ") {
		t.Errorf("%v\n%s", err, &out)
	}
}

// TestDecodeBAL reads slots as 32 bytes, as in 2025, and as integers, as now.
func TestDecodeBAL(t *testing.T) {
	addr, slot := common.Address{1}, common.Hash{31: 7}
	encode := func(slot []byte) []byte {
		write := []any{slot, []any{[]any{uint(1), []byte{5}}}}
		encoded, err := rlp.EncodeToBytes([]any{[]any{addr, []any{write}, []any{slot}, []any{}, []any{}, []any{}}})
		if err != nil {
			t.Fatal(err)
		}
		return encoded
	}
	for what, encoded := range map[string][]byte{"bytes": encode(slot[:]), "integer": encode([]byte{7})} {
		list, err := decodeBAL(encoded)
		if err != nil || len(list) != 1 || list[0].addr != addr || len(list[0].slots) != 2 || list[0].slots[0] != slot || list[0].slots[1] != slot {
			t.Errorf("%s: %v %v", what, list, err)
		}
	}
	for _, bad := range [][]byte{{}, {1}, {0xc1, 1}, {0xc1, 0xc0}, encode(make([]byte, 33)), append(encode(nil), 0), {0xc4, 0xc3, 1, 0xc0, 0xc0}} {
		if list, err := decodeBAL(bad); err == nil {
			t.Errorf("%x is %v", bad, list)
		}
	}
}

func TestBadBALs(t *testing.T) {
	write := func(name string) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), []byte{0xc1, 1}, 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	deep := balOptions(t.TempDir())
	deep.AccountDepth = 65
	lonely := balOptions(t.TempDir())
	lonely.Peers = []int{0}
	for want, opts := range map[string]BALsOptions{
		"no access lists":   balOptions(t.TempDir()),
		"not a list":        balOptions(write("7_.rlp")),
		"begin with a":      balOptions(write("seven.rlp")),
		"account depth 65":  deep,
		"numbers of peers ": lonely,
	} {
		if err := BALs(t.Context(), opts, new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestQuantile(t *testing.T) {
	values := []float64{4, 1, 3, 2}
	for share, want := range map[float64]float64{0: 1, 0.5: 2.5, 1: 4} {
		if got := quantile(values, share); got != want {
			t.Errorf("%v: %v", share, got)
		}
	}
	if quantile(nil, 0.5) != 0 {
		t.Error("of nothing")
	}
}
