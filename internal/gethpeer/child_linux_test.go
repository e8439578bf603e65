// SPDX-License-Identifier: LGPL-3.0-or-later

package gethpeer

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestChildEndsWithParent kills a process that has a child, and the child ends.
func TestChildEndsWithParent(t *testing.T) {
	const asParent = "TEST_AS_PARENT"
	if os.Getenv(asParent) != "" {
		child := exec.CommandContext(t.Context(), "sleep", "600")
		child.SysProcAttr = ChildAttributes()
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		fmt.Println(child.Process.Pid)
		_ = child.Wait() // we are killed before
		return
	}
	parent := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestChildEndsWithParent$")
	parent.Env = append(os.Environ(), asParent+"=1")
	out, err := parent.StdoutPipe()
	if err == nil {
		err = parent.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed
	for range 1000 {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(status), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	t.Error("the child outlives its parent")
}
