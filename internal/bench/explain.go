// SPDX-License-Identifier: LGPL-3.0-or-later

package bench

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/sunbeam-eth/sunbeam/trie"
)

// Trip says what was asked for within one round-trip time: how many of each kind. A trip that is
// not listed asked for nothing new: it went on down the paths of an earlier one.
type Trip struct {
	Trip     int    `json:"trip"`  // it began so many round trips after the block was there
	Stage    string `json:"stage"` // prefetch or execute
	Accounts int    `json:"accounts"`
	Slots    int    `json:"slots"`
	Siblings int    `json:"siblings"` // nodes that no key leads to: what deletions pull up
	Codes    int    `json:"codes"`
	Headers  int    `json:"headers"`
}

func (t *Trip) add(o Trip) {
	t.Accounts += o.Accounts
	t.Slots += o.Slots
	t.Siblings += o.Siblings
	t.Codes += o.Codes
	t.Headers += o.Headers
}

// String names the kinds that were asked for.
func (t Trip) String() string {
	var parts []string
	for _, kind := range []struct {
		count int
		name  string
	}{{t.Accounts, "accounts"}, {t.Slots, "slots"}, {t.Siblings, "siblings"}, {t.Codes, "codes"}, {t.Headers, "headers"}} {
		if kind.count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", kind.count, kind.name))
		}
	}
	return fmt.Sprintf("trip %3d  %-8s  %s", t.Trip, t.Stage, strings.Join(parts, ", "))
}

// tripLog sorts by trip what is asked for. A nil one does nothing.
type tripLog struct {
	begin time.Time
	rtt   time.Duration

	mu   sync.Mutex
	now  string // stage
	list []Trip // in order
}

// newTripLog returns nil if there are no trips to be told apart.
func newTripLog(begin time.Time, rtt time.Duration) *tripLog {
	if rtt <= 0 {
		return nil
	}
	return &tripLog{begin: begin, rtt: rtt}
}

func (l *tripLog) stage(name string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = name
}

func (l *tripLog) note(more Trip) {
	if l == nil {
		return
	}
	n := int(time.Since(l.begin) / l.rtt)
	l.mu.Lock()
	defer l.mu.Unlock()
	if last := len(l.list) - 1; last < 0 || l.list[last].Trip != n || l.list[last].Stage != l.now {
		l.list = append(l.list, Trip{Trip: n, Stage: l.now})
	}
	l.list[len(l.list)-1].add(more)
}

func (l *tripLog) noteMany(faults []trie.Fault, codes []common.Hash) {
	if l == nil {
		return
	}
	more := Trip{Codes: len(codes)}
	for _, fault := range faults {
		switch {
		case fault.Key == nil:
			more.Siblings++
		case fault.Owner == (common.Hash{}):
			more.Accounts++
		default:
			more.Slots++
		}
	}
	l.note(more)
}

func (l *tripLog) trips() []Trip {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.list
}
