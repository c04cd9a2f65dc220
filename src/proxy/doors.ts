import type { Server } from "bun";
import { createListener, type Listener, type ServeOptions } from "./listener.ts";
import type { TlsSettings } from "./tls-settings.ts";

/** The traffic ports: the plain one and the one with TLS. Each is open only once it was started. */
export interface Doors {
  /** Opens the plain port and returns it. Throws if it is taken. */
  startPlain(host: string): number;
  /** Opens the port with TLS and returns it. Throws if it is taken, or if the pair cannot be used. */
  startTls(place: { readonly host: string; readonly port: number }, settings: TlsSettings): number;
  /**
   * Uses other settings for connections from now on. Before `startTls` it does nothing. Throws, and changes nothing, if
   * the settings cannot be used.
   */
  renewTls(settings: TlsSettings): void;
  pause(): void;
  /** Accepts again where it does not, and can. Throws if another process has taken a port. */
  resume(): void;
  closeIdle(): number;
  timeout(request: Request, seconds: number): void;
  pendingRequests(): number;
  isOpen(request: Request): boolean;
  stop(): Promise<void>;
  stopNow(): Promise<void>;
}

/** Where and how a server listens. */
export interface DoorOptions extends ServeOptions {
  readonly host: string;
  /** Undefined: without TLS. */
  readonly tls: TlsSettings | undefined;
}

/**
 * @param port The plain port; 0 takes a free one.
 * @param options.onCrowded Called when connections of an earlier certificate have been ended, to make room.
 * @param options.serve Opens a server.
 */
export function createDoors<D>(
  port: number,
  { serve, onCrowded }: { readonly serve: (options: DoorOptions) => Server<D>; readonly onCrowded: () => void },
): Doors {
  let plainHost = "";
  let tls: { readonly listener: Listener; settings: TlsSettings } | undefined;
  const plain = createListener<D>({ port }, (options) => serve({ ...options, host: plainHost, tls: undefined }));
  const all = (): readonly Listener[] => (tls === undefined ? [plain] : [plain, tls.listener]);
  const sum = (count: (listener: Listener) => number): number =>
    all().reduce((total, listener) => total + count(listener), 0);

  return {
    startPlain(host) {
      plainHost = host;
      return plain.start();
    },
    startTls(place, settings) {
      const serveTls = (options: ServeOptions): Server<D> =>
        serve({ ...options, host: place.host, tls: tls?.settings ?? settings });
      const listener = createListener<D>({ port: place.port, scheme: "https", sharesPort: true, onCrowded }, serveTls);
      const opened = listener.start();
      tls = { listener, settings };
      return opened;
    },
    renewTls(settings) {
      if (tls === undefined) return;
      const earlier = tls.settings;
      tls.settings = settings;
      try {
        tls.listener.replace();
      } catch (thrown) {
        tls.settings = earlier;
        throw thrown;
      }
    },
    pause() {
      for (const listener of all()) listener.pause();
    },
    resume() {
      const faults: unknown[] = [];
      for (const listener of all()) {
        try {
          listener.resume();
        } catch (thrown) {
          // The other port must not stay closed because of this one.
          faults.push(thrown);
        }
      }
      if (faults.length > 0) throw faults[0];
    },
    closeIdle: () => sum((listener) => listener.closeIdle()),
    timeout(request, seconds) {
      all().some((listener) => listener.timeout(request, seconds));
    },
    pendingRequests: () => sum((listener) => listener.pendingRequests()),
    isOpen(request) {
      for (const listener of all()) {
        const isOpen = listener.isOpen(request);
        if (isOpen !== undefined) return isOpen;
      }
      return false;
    },
    async stop() {
      await Promise.all(all().map((listener) => listener.stop()));
    },
    async stopNow() {
      await Promise.all(all().map((listener) => listener.stopNow()));
    },
  };
}
