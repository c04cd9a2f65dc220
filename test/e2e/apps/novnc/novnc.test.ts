import { existsSync } from "node:fs";
import { findFreePort } from "../../../../scripts/lib/free-port.ts";
import { startServerProcess, type ServerProcess } from "../../../../scripts/lib/server-process.ts";
import { startLocalApp } from "../../../support/apps/local-app.ts";
import { tryApp, type RunningApp, type Visit } from "../../../support/apps/try-app.ts";
import { tempDir } from "../../../support/temp-dir.ts";

interface DesktopApp extends RunningApp {
  /** Fills the screen with one colour, such as `#336699`. */
  paint(colour: string): Promise<void>;
}

/** Where Debian's package has the pages. */
const PAGES = "/usr/share/novnc";
/** X servers of this machine's people have lower numbers. */
const DISPLAYS_FROM = 100;

/** The page asks for `/websockify`, whatever its own path is. */
const LEFT_PREFIX = /^websocket failed ws:\/\/[^/]+\/websockify: .* 40\d$/;

/** A real X server that speaks VNC's protocol, on a display that nobody has. */
async function startDesktop(authority: string): Promise<{ server: ServerProcess; display: string; rfbPort: number }> {
  let number = DISPLAYS_FROM;
  while (existsSync(`/tmp/.X11-unix/X${number}`) || existsSync(`/tmp/.X${number}-lock`)) number++;
  const rfbPort = findFreePort();
  const display = `:${number}`;
  const server = await startServerProcess({
    name: "Xtigervnc",
    command: () => [
      "Xtigervnc",
      display,
      "-geometry",
      "320x240",
      "-depth",
      "24",
      "-SecurityTypes",
      "None",
      "-localhost",
      "-rfbport",
      String(rfbPort),
      "-nolisten",
      "tcp",
      "-ac",
    ],
    env: { ...process.env, XAUTHORITY: authority },
    isReady: () => Bun.spawnSync(["xsetroot", "-display", display, "-solid", "#000000"]).success,
  });
  return { server, display, rfbPort };
}

/** Connects as the page does by itself, or by the path of the WebSocket that a person gives. */
async function watchDesktop(visit: Visit, app: DesktopApp, path: string): Promise<void> {
  await app.paint("#336699");
  const page = await visit.open(`/vnc.html?autoconnect=true&reconnect=false${path}`);
  const showsColour = (rgb: string) => `(() => {
    const canvas = document.querySelector("#noVNC_container canvas");
    if (!canvas || canvas.width !== 320) return false;
    return canvas.getContext("2d").getImageData(100, 100, 1, 1).data.slice(0, 3).join() === "${rgb}";
  })()`;
  await page.until(showsColour("51,102,153"));
  await app.paint("#ff8000");
  await page.until(showsColour("255,128,0"));
}

function useOwnPath(visit: Visit, app: DesktopApp): Promise<void> {
  return watchDesktop(visit, app, "");
}

function usePathWithPrefix(visit: Visit, app: DesktopApp): Promise<void> {
  return watchDesktop(visit, app, `&path=${encodeURIComponent(`${visit.place.prefix.slice(1)}/websockify`)}`);
}

tryApp<DesktopApp>({
  name: "novnc",
  async start({ port }) {
    const home = tempDir();
    const { server: screen, display, rfbPort } = await startDesktop(`${home.path}/authority`);
    const gateway = await startLocalApp({
      name: "websockify",
      port,
      readyPath: "/vnc.html",
      command: ["websockify", `--web=${PAGES}`, `127.0.0.1:${port}`, `127.0.0.1:${rfbPort}`],
    });
    return {
      ...gateway,
      async paint(colour) {
        const painter = Bun.spawn(["xsetroot", "-display", display, "-solid", colour], { stderr: "ignore" });
        if ((await painter.exited) !== 0) throw new Error("cannot paint the screen");
      },
      [Symbol.asyncDispose]: async () => {
        await gateway.stop();
        await screen.stop();
        home[Symbol.dispose]();
      },
    };
  },
  use: useOwnPath,
  rows: [
    { form: "direct" },
    { form: "host" },
    { form: "host", settings: { "origin-header": "upstream" } },
    { form: "uri", fails: LEFT_PREFIX },
    { form: "uri", use: usePathWithPrefix, letter: "T" },
  ],
});
