// SPDX-License-Identifier: LGPL-3.0-or-later

package db

import (
	"errors"
	"strings"
	"testing"

	levelerrors "github.com/syndtr/goleveldb/leveldb/errors"
)

// TestAdviceOnFailures: the first failure says what to do, by what it is.
func TestAdviceOnFailures(t *testing.T) {
	for want, cause := range map[string]error{
		"start again: what can be read of it is kept": &levelerrors.ErrCorrupted{Err: errors.New("bad magic number")},
		"is the disk full or broken?":                 errors.New("input/output error"),
	} {
		d := &DB{health: newFailure()}
		_ = d.health.report("chaindata", cause)
		if err := d.Err(); err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), "(") != 1 || !errors.Is(err, cause) {
			t.Errorf("%v: %v", cause, err)
		}
	}
}
