// SPDX-License-Identifier: LGPL-3.0-or-later

package page

// State is what the page shows. Times are in seconds unless their names say otherwise, sizes in bytes.
type State struct {
	Version  string    `json:"version"`
	Network  string    `json:"network"`
	Phase    string    `json:"phase"` // beaming or full
	Ready    bool      `json:"ready"`
	Waits    []string  `json:"waits"` // in words: why it is not ready, and what its parts wait for
	Head     uint64    `json:"head"`
	Newest   uint64    `json:"newest"`
	Backfill *Backfill `json:"backfill,omitempty"` // absent if no state is collected
	History  History   `json:"history"`
	Blocks   []Block   `json:"blocks"` // the newest ones that were executed, the last one last
	Totals   Totals    `json:"totals"`
	Peers    []Peer    `json:"peers"`
	Disk     Disk      `json:"disk"`
}

// Backfill is how far the collection of the state is.
type Backfill struct {
	Share     float64    `json:"share"` // 0 to 1
	ETA       float64    `json:"eta"`   // 0: unknown
	ETALow    float64    `json:"etaLow"`
	ETAHigh   float64    `json:"etaHigh"`
	Rate      float64    `json:"rate"` // bytes per second
	Bytes     uint64     `json:"bytes"`
	Remaining uint64     `json:"remaining"`
	Accounts  uint64     `json:"accounts"`
	Slots     uint64     `json:"slots"`
	Codes     uint64     `json:"codes"`
	Restarts  int        `json:"restarts"`
	Map       string     `json:"map"`   // 32 bytes in hex: a bit for each of 256 slices of the account hashes, the first one first; set: complete
	Large     []Contract `json:"large"` // contracts with large storage
}

// Contract is the map of a large storage trie.
type Contract struct {
	Account string `json:"account"` // hash of its address
	Map     string `json:"map"`     // as Backfill.Map
}

// History is how far the collection of old blocks is.
type History struct {
	Share  float64 `json:"share"`
	Oldest uint64  `json:"oldest"`
	ETA    float64 `json:"eta"`
}

// Block is what one execution took.
type Block struct {
	Number  uint64  `json:"number"`
	Hash    string  `json:"hash"`
	Outcome string  `json:"outcome"` // valid, invalid or incomplete
	Txs     int     `json:"txs"`
	Gas     uint64  `json:"gas"`
	Millis  float64 `json:"ms"`      // until the outcome
	Waited  float64 `json:"waitMs"`  // of these, for peers
	Guessed float64 `json:"guessMs"` // of these, speculation on what the block reads
	Run     float64 `json:"runMs"`   // of these, execution
	Written float64 `json:"writeMs"` // after these, until it was on disk
	Faults  uint64  `json:"faults"`
	Trips   uint64  `json:"trips"`
	Nodes   uint64  `json:"nodes"`
	Codes   uint64  `json:"codes"`
	Bytes   uint64  `json:"bytes"`
}

// Totals counts blocks since the start.
type Totals struct {
	Valid      uint64 `json:"valid"`
	Invalid    uint64 `json:"invalid"`
	Incomplete uint64 `json:"incomplete"`
}

// Peer is a connected peer and what it can give.
type Peer struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Inbound bool     `json:"inbound"`
	Head    uint64   `json:"head"`
	Latency float64  `json:"latencyMs"` // 0: not measured
	Gives   []string `json:"gives"`

	Received uint64 `json:"received"` // bytes of messages since it is connected
	Sent     uint64 `json:"sent"`
}

// Disk is what the node's directory takes.
type Disk struct {
	Hot      uint64  `json:"hot"`      // state fetched on demand
	Free     uint64  `json:"free"`     // 0: unknown
	Stores   []Store `json:"stores"`   // the largest first; at most 5 minutes old, empty until they are measured
	LogIndex uint64  `json:"logIndex"` // of the chaindata, estimated
}

// Store is one of the node's databases.
type Store struct {
	Name  string `json:"name"`
	Bytes uint64 `json:"bytes"`
}
