/** What a device's own status tool says, as far as a person wants to know it. */
export interface Status {
  volume: number | null;
  brightness: number | null;
  battery: number | null;
  signal: string;
}

export const STATUS = 'self.get_device_status';
/** The key of a device's status: not below the device's own, which is asked for again with each event of the device. */
export const statusKey = (deviceId: string) => ['device-status', deviceId];
export const LEVELS = {
  volume: { tool: 'self.audio_speaker.set_volume', argument: 'volume' },
  brightness: { tool: 'self.screen.set_brightness', argument: 'brightness' },
} as const;

const part = (value: unknown, name: string): unknown => (typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined);
const level = (value: unknown) => (typeof value === 'number' && value >= 0 && value <= 100 ? Math.round(value) : null);

/** The status in the text of the tool's result; unknown parts are null. */
export function readStatus(text: string): Status {
  let found: unknown = null;
  try {
    found = JSON.parse(text);
  } catch {
    // A device may say it in its own words.
  }
  const signal = part(part(found, 'network'), 'signal');
  return {
    volume: level(part(part(found, 'audio_speaker'), 'volume')),
    brightness: level(part(part(found, 'screen'), 'brightness')),
    battery: level(part(part(found, 'battery'), 'level')),
    signal: typeof signal === 'string' || typeof signal === 'number' ? String(signal) : '',
  };
}
