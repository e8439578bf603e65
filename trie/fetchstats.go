// SPDX-License-Identifier: LGPL-3.0-or-later

package trie

import (
	"encoding/json"
	"time"
)

// FetchStats is what the reads through one [Source] took.
type FetchStats struct {
	Faults   uint64        `json:"faults"`   // nodes and codes asked for that were not held
	Trips    uint64        `json:"trips"`    // sequential round trips, see [fetch.Session]
	Requests uint64        `json:"requests"` // wire requests that carried a want of this session, hedges included
	Nodes    uint64        `json:"nodes"`    // verified trie nodes delivered, those that came along included
	Codes    uint64        `json:"codes"`    // verified codes delivered
	Bytes    uint64        `json:"bytes"`    // of these nodes and codes
	Wait     time.Duration `json:"-"`        // time in which at least one call waited; waitSeconds in JSON
}

// MarshalJSON adds waitSeconds.
func (s FetchStats) MarshalJSON() ([]byte, error) {
	type plain FetchStats
	return json.Marshal(struct {
		plain
		WaitSeconds float64 `json:"waitSeconds"`
	}{plain(s), s.Wait.Seconds()})
}

// Add adds up sessions that ran one after another.
func (s *FetchStats) Add(o FetchStats) {
	s.Faults += o.Faults
	s.Trips += o.Trips
	s.Requests += o.Requests
	s.Nodes += o.Nodes
	s.Codes += o.Codes
	s.Bytes += o.Bytes
	s.Wait += o.Wait
}
