/**
 * Run by a test in a process of its own: the ingress with faults that belong to no request, one at SIGUSR1 and one at SIGUSR2.
 * The program itself has no such place, so they come from here.
 */
process.on("SIGUSR1", () => {
  void Promise.reject(new TypeError("an unhandled rejection of http://10.0.0.7/s3cr3t?token=s3cr3t"));
});
process.on("SIGUSR2", () => {
  throw new TypeError("an uncaught exception of http://10.0.0.7/s3cr3t?token=s3cr3t");
});

await import("../../src/main.ts");
