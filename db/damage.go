// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunbeam-eth/sunbeam/internal/atomicfile"
	"github.com/sunbeam-eth/sunbeam/trie"
)

// Damage is what is known about lost or corrupt content of chaindata. It is kept in <datadir>/geth/damage.json, outside
// of the database, from the moment at which it is found until a state is complete again.
type Damage struct {
	Found time.Time `json:"found"`
	What  string    `json:"what"` // the database, and what was found to be missing or wrong first

	// Tables says that files of the database are lost: any key may be absent or have an older value. Blocks and markers
	// must be checked; see ChainChecked.
	Tables bool `json:"tables,omitempty"`
	// Repair says that LevelDB found a file corrupt while it read: the next start collects what can be read.
	Repair bool `json:"repair,omitempty"`
	// StateChecked says that [DB.DiscardIncomplete] has ended: what is left in Complete obeys its rules.
	StateChecked bool `json:"stateChecked,omitempty"`
}

// DamageKind is a closed set of label values.
type DamageKind string

// The kinds of damage that are found one by one.
const (
	DamagedNode  DamageKind = "node"
	DamagedCode  DamageKind = "code"
	DamagedBlock DamageKind = "block"
)

// damageLog is the damage of an open database.
type damageLog struct {
	path    string        // of damage.json; empty in memory
	found   chan struct{} // closed by the first report of this process, see DB.DamageFound
	metrics *prometheus.CounterVec

	mu       sync.Mutex
	recorded *Damage // what the file has; nil: none
	first    string  // the first report of this process
}

func newDamageLog(path string, reg prometheus.Registerer) (*damageLog, error) {
	l := &damageLog{path: path, found: make(chan struct{}), metrics: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "beam_damaged_total", Help: "Stored blocks, and trie nodes and codes of a complete local state, that were found missing or wrong.",
	}, []string{"kind"})}
	for _, kind := range []DamageKind{DamagedNode, DamagedCode, DamagedBlock} {
		l.metrics.WithLabelValues(string(kind))
	}
	if path != "" {
		raw, err := os.ReadFile(path)
		switch {
		case err == nil:
			l.recorded = &Damage{What: "the database was damaged before"} // a file that does not decode counts as well
			_ = json.Unmarshal(raw, l.recorded)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("read record of damage: %w", err)
		}
	}
	if reg != nil {
		reg.MustRegister(l.metrics)
	}
	return l, nil
}

// report counts something of a complete state that is missing or wrong, and says so to those who wait for DamageFound.
func (l *damageLog) report(kind DamageKind, what string) {
	l.metrics.WithLabelValues(string(kind)).Inc()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == "" {
		l.first = what
		close(l.found)
	}
}

// record makes damage durable; nil: there is none any more.
func (l *damageLog) record(d *Damage) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d == nil {
		l.recorded = nil
		if l.path == "" {
			return nil
		}
		if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove record of damage: %w", err)
		}
		return nil
	}
	if l.path != "" {
		raw, err := json.MarshalIndent(d, "", "  ")
		if err != nil {
			return fmt.Errorf("encode record of damage: %w", err)
		}
		if err := atomicfile.Write(l.path, raw); err != nil {
			return err
		}
	}
	l.recorded = d
	return nil
}

// Damage returns the damage that was found and is not repaired yet.
func (d *DB) Damage() (Damage, bool) {
	d.damage.mu.Lock()
	defer d.damage.mu.Unlock()
	if d.damage.recorded == nil {
		return Damage{}, false
	}
	return *d.damage.recorded, true
}

// DamageFound is closed when a read of a complete state finds it damaged: then the state must not be called complete
// any more, see MarkDamaged.
func (d *DB) DamageFound() <-chan struct{} {
	d.damage.mu.Lock()
	defer d.damage.mu.Unlock()
	return d.damage.found
}

// CountDamagedBlock counts a stored block that is not what its hash says. Unlike damage of the state it does not end the full phase: see
// chain.Restore.
func (d *DB) CountDamagedBlock() { d.damage.metrics.WithLabelValues(string(DamagedBlock)).Inc() }

// FirstDamage describes what DamageFound was closed for.
func (d *DB) FirstDamage() string {
	d.damage.mu.Lock()
	defer d.damage.mu.Unlock()
	return d.damage.first
}

// MarkDamaged records durably that the state is damaged, and that the node is beaming. Nothing of the state counts as
// complete until DiscardIncomplete has checked it. It arms DamageFound again.
func (d *DB) MarkDamaged(what string) error {
	damage, known := d.Damage()
	if !known {
		damage = Damage{Found: time.Now(), What: what}
	}
	damage.StateChecked = false
	if err := d.damage.record(&damage); err != nil {
		return err
	}
	d.damage.rearm()
	return d.UnmarkFull()
}

func (l *damageLog) rearm() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first != "" {
		l.first, l.found = "", make(chan struct{})
	}
}

// ChainChecked records that the blocks and markers of a database that lost tables were checked.
func (d *DB) ChainChecked() error {
	damage, known := d.Damage()
	if !known || !damage.Tables {
		return nil
	}
	damage.Tables = false
	return d.damage.record(&damage)
}

// SetAside renames a file or directory that can be made anew, and returns its new path. Nothing is deleted, so that it
// can be looked into.
func SetAside(path string) (string, error) {
	stem := path + ".damaged-" + time.Now().UTC().Format("20060102T150405")
	aside := stem
	for n := 2; ; n++ {
		if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			break
		}
		aside = fmt.Sprintf("%s-%d", stem, n)
	}
	if err := os.Rename(path, aside); err != nil {
		return "", fmt.Errorf("set aside: %w", err)
	}
	return aside, nil
}

// damagePath is where a datadir keeps its record.
func damagePath(root string) string { return filepath.Join(root, "damage.json") }

// describe names a node for people.
func describe(owner common.Hash, path []byte, hash common.Hash) string {
	if owner == (common.Hash{}) {
		return fmt.Sprintf("trie node %x of the account trie at path %x", hash, trie.EncodePath(path))
	}
	return fmt.Sprintf("trie node %x of the storage of account %x at path %x", hash, owner, trie.EncodePath(path))
}
