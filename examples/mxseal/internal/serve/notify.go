package serve

import (
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// What the daemon tells systemd (sd_notify(3)).
const (
	ready     = sd.SdNotifyReady
	reloading = sd.SdNotifyReloading
	stopping  = sd.SdNotifyStopping
	alive     = sd.SdNotifyWatchdog
)

// tell notifies systemd of a state, if systemd runs the daemon. Errors are ignored: systemd notices a
// notification that does not come.
func tell(state string) { _, _ = sd.SdNotify(false, state) }

// watchdog returns a channel that delivers a tick whenever systemd expects a sign of life, or nil if it expects
// none. end stops the ticks.
func watchdog() (tick <-chan time.Time, end func()) {
	interval, err := sd.SdWatchdogEnabled(false)
	if err != nil || interval <= 0 {
		return nil, func() {}
	}
	ticker := time.NewTicker(interval / 3)
	return ticker.C, ticker.Stop
}
