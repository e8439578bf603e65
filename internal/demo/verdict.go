// SPDX-License-Identifier: LGPL-3.0-or-later

package demo

import (
	"errors"
	"fmt"
)

// tally counts what a run of the demo saw.
type tally struct {
	wanted      int  // blocks to see VALID; 0: until interrupted
	interrupted bool // by the user
	questions   bool // answers were to be compared

	full    bool // the node has the whole state
	valid   int  // blocks
	invalid int  // blocks that the node refused; geth built them
	open    int  // blocks that the node neither accepted nor refused before the run ended

	same       int // answers equal to geth's
	different  int // answers that are not
	unanswered int // questions that one of the two nodes did not answer in time, however often it was asked
}

// verdict is nil if the node did what was asked of it. How long something took does not count: an
// unanswered question is not a wrong answer. But a run that compared nothing, or that ended before
// all wanted blocks were VALID, has shown nothing.
func (t tally) verdict() error {
	switch compared := t.same + t.different; {
	case t.different > 0:
		return fmt.Errorf("%d of %d answers differ from geth's", t.different, compared)
	case t.invalid > 0:
		return fmt.Errorf("%d blocks that geth built are INVALID to sunbeam", t.invalid)
	case !t.interrupted && t.valid < t.wanted:
		return fmt.Errorf("unfinished: %d of %d blocks were VALID, %d still had no verdict", t.valid, t.wanted, t.open)
	case !t.interrupted && !t.full:
		return errors.New("unfinished: the node has not got the whole state")
	case compared == 0 && t.unanswered > 0:
		return fmt.Errorf("no answer could be compared with geth's: %d questions remained unanswered", t.unanswered)
	case compared == 0 && t.questions && !t.interrupted:
		return fmt.Errorf("no answer was compared with geth's")
	}
	return nil
}
