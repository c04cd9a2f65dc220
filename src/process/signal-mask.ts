import { dlopen, ptr } from "bun:ffi";

/** Linux: `how` of sigprocmask(2), and numbers of signals, see signal(7). */
const SIG_BLOCK = 0;
const SIG_UNBLOCK = 1;
const SIGNALS = { SIGINT: 2, SIGTERM: 15 } as const;
/** Size of glibc's sigset_t. */
const SIGSET_BYTES = 128;

/**
 * Holds SIGTERM and SIGINT back, or lets them through. A signal that is held back stays pending, also over an execve, which resets
 * every handler: without this, one that comes in between is lost to process 1, which the kernel gives no signal without a
 * handler. False, and nothing changed, where the system is another than Linux with glibc.
 */
export function setSignalMask(action: "hold" | "release"): boolean {
  try {
    const libc = dlopen("libc.so.6", { sigprocmask: { args: ["i32", "ptr", "ptr"], returns: "i32" } });
    const set = new Uint8Array(SIGSET_BYTES);
    for (const number of Object.values(SIGNALS)) {
      const byte = (number - 1) >> 3;
      set[byte] = (set[byte] ?? 0) | (1 << ((number - 1) & 7));
    }
    const result = libc.symbols.sigprocmask(action === "hold" ? SIG_BLOCK : SIG_UNBLOCK, ptr(set), null);
    libc.close();
    return result === 0;
  } catch {
    return false;
  }
}
