package main

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ticks is USER_HZ: 100 on every Linux.
const ticks = 100

// of names a process in /proc; 0 is this one.
func of(pid int) string {
	if pid == 0 {
		return "self"
	}
	return strconv.Itoa(pid)
}

func cpuSeconds(pid int) float64 {
	text, err := os.ReadFile("/proc/" + of(pid) + "/stat")
	if err != nil {
		return 0
	}
	// The name may hold spaces; what follows its bracket does not.
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticks
}

// memory reads a line of /proc/PID/status, in bytes.
func memory(pid int, line string) float64 {
	text, err := os.ReadFile("/proc/" + of(pid) + "/status")
	if err != nil {
		return 0
	}
	for _, found := range strings.Split(string(text), "\n") {
		if rest, ok := strings.CutPrefix(found, line+":"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib * 1024
		}
	}
	return 0
}

// meter counts the time of both ends from a start.
type meter struct {
	started          time.Time
	listenerPID      int
	dialer, listener float64
}

func start(listenerPID int) meter {
	m := meter{listenerPID: listenerPID, dialer: cpuSeconds(0)}
	if listenerPID != 0 {
		m.listener = cpuSeconds(listenerPID)
	}
	m.started = time.Now()
	return m
}

// read returns seconds on the clock and of CPU.
func (m meter) read() (wall, dialer, listener float64) {
	wall = time.Since(m.started).Seconds()
	if m.listenerPID != 0 {
		listener = cpuSeconds(m.listenerPID) - m.listener
	}
	return wall, cpuSeconds(0) - m.dialer, listener
}

func percentiles(samples []time.Duration) map[string]any {
	slices.Sort(samples)
	said := map[string]any{}
	for name, share := range map[string]float64{"p50_us": 0.5, "p90_us": 0.9, "p99_us": 0.99} {
		index := min(int(float64(len(samples))*share), len(samples)-1)
		said[name] = round(samples[index].Seconds() * 1e6)
	}
	return said
}

// round keeps four digits: more than a run repeats.
func round(value float64) float64 {
	if value == 0 || math.IsInf(value, 0) || math.IsNaN(value) {
		return 0
	}
	rounded, _ := strconv.ParseFloat(fmt.Sprintf("%.4g", value), 64)
	return rounded
}
