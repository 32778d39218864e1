/** What people want to know of a device's last OTA report, whose fields come and go between firmware versions. */
export interface Report {
  chip: string;
  cores: number;
  flash: number;
  application: string;
  screen: string;
  ssid: string;
  channel: number;
  rssi: number;
  ip: string;
  carrier: string;
}

const part = (value: unknown, name: string): unknown => (typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined);
const text = (value: unknown) => (typeof value === 'string' ? value : '');
const number = (value: unknown) => (typeof value === 'number' && Number.isFinite(value) ? value : 0);

/** The parts of a report; empty or 0 where it says nothing. */
export function readReport(report: Record<string, unknown>): Report {
  const board = report.board;
  const display = report.display;
  const [width, height] = [number(part(display, 'width')), number(part(display, 'height'))];
  return {
    chip: text(report.chip_model_name).toUpperCase(),
    cores: number(part(report.chip_info, 'cores')),
    flash: number(report.flash_size),
    application: text(part(report.application, 'name')),
    screen: width && height ? `${width} × ${height}` : '',
    ssid: text(part(board, 'ssid')),
    channel: number(part(board, 'channel')),
    rssi: number(part(board, 'rssi')),
    ip: text(part(board, 'ip')),
    carrier: text(part(board, 'carrier')),
  };
}
