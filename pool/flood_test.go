// SPDX-License-Identifier: LGPL-3.0-or-later

package pool

import (
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// TestAnnouncementFlood: however many hashes peers announce, the fetcher gets a bounded number of them, and a peer that announces
// little is heard while another one floods.
func TestAnnouncementFlood(t *testing.T) {
	t.Parallel()
	var set peerSet
	now := time.Unix(1_000_000, 0)
	flooding := newPeer(nil)
	total := 0
	for range 10 * 60 { // a minute
		now = now.Add(100 * time.Millisecond)
		total += set.admit(flooding, 4096, now)
	}
	if total > announcedBurst+61*announcedRate {
		t.Errorf("%d hashes of one peer", total)
	}
	if n := set.admit(newPeer(nil), 50, now); n != 50 {
		t.Errorf("%d of 50 hashes of another peer", n)
	}
	total = 0
	for range 100 {
		total += set.admit(newPeer(nil), 1<<20, now)
	}
	if total > announcedBurstTotal {
		t.Errorf("%d hashes of many peers at once", total)
	}
	a := announcement{kinds: []byte{1, 2}, sizes: []uint32{3, 4}, hashes: []common.Hash{{5}, {6}}}.first(1)
	if len(a.kinds) != 1 || len(a.sizes) != 1 || len(a.hashes) != 1 {
		t.Errorf("%+v", a)
	}
	if old := (announcement{hashes: []common.Hash{{5}, {6}}}).first(1); old.kinds != nil || len(old.hashes) != 1 {
		t.Errorf("over eth/66: %+v", old)
	}
}
