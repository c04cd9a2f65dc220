import { dlopen, ptr } from "bun:ffi";

/** Linux: `how` of sigprocmask(2), and signal numbers of signal(7). */
const SIG_BLOCK = 0;
const SIG_UNBLOCK = 1;
const SIGNALS = { SIGINT: 2, SIGTERM: 15 } as const;
/** Size of glibc's sigset_t. */
const SIGSET_BYTES = 128;

/**
 * Blocks SIGTERM and SIGINT, or releases them. A blocked signal stays pending, even over an execve. Without this, a
 * signal that arrives during the execve would be lost: execve resets all handlers, and the kernel sends process 1 no
 * signal without a handler. Returns false and changes nothing if the system is not Linux with glibc.
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
