import { buildDashboardFile } from "./admin-answers.ts";
import type { AdminPage } from "./admin-page.ts";
import { readDashboardFiles } from "./dashboard-files.ts" with { type: "macro" };

/** Made when this file is parsed: at the build of a binary, or at the start from source. So it is never out of date. */
const FILES = readDashboardFiles();

/**
 * The dashboard: the page at `/` and its files. `AdminGate` must judge each request before it gets here, as
 * `AdminServerOptions.operatorPages` does.
 */
export function createDashboardPages(): readonly AdminPage[] {
  const page = (path: string, title: string, file: { readonly text: string; readonly type: string }): AdminPage => ({
    path,
    title,
    method: "GET",
    answer: () => buildDashboardFile(file.text, file.type),
  });
  return [
    page("/", "the dashboard", FILES.page),
    page("/dashboard/dashboard.js", "its script", FILES.script),
    page("/dashboard/dashboard.css", "its style", FILES.style),
    page("/dashboard/icon.svg", "its icon", FILES.icon),
  ];
}
