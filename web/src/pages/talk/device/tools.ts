/** The browser device's MCP server: status, volume, camera. JSON-RPC 2.0 inside messages of type `mcp`. */

export interface Body {
  /** 0 to 100. */
  volume(): number;
  setVolume(volume: number): void;
  /** Undefined in a browser that can't have a camera. Answers a question about a picture; raises with the reason. */
  photo?: (question: string, vision: Vision) => Promise<string>;
}

export interface Vision {
  url: string;
  token: string;
}

interface Request {
  jsonrpc?: unknown;
  id?: unknown;
  method?: unknown;
  params?: unknown;
}

type Fields = Record<string, unknown>;
const METHOD_NOT_FOUND = -32601;
const INVALID_PARAMS = -32602;
const INTERNAL_ERROR = -32603;

class Refused extends Error {
  constructor(
    message: string,
    readonly code = INVALID_PARAMS,
  ) {
    super(message);
  }
}

const NOTHING = { type: 'object', properties: {} };
const STATUS = { name: 'self.get_device_status', description: 'Tells the state of the device, a page in a browser: its volume.', inputSchema: NOTHING };
const SET_VOLUME = {
  name: 'self.audio_speaker.set_volume',
  description: "Sets the speaker's volume, from 0 (mute) to 100.",
  inputSchema: { type: 'object', properties: { volume: { type: 'integer', minimum: 0, maximum: 100 } }, required: ['volume'] },
};
const TAKE_PHOTO = {
  name: 'self.camera.take_photo',
  description: "Takes a photo with the camera, after the person has agreed, and answers a question about what is seen. Use it when the user asks what something is or looks like.",
  inputSchema: { type: 'object', properties: { question: { type: 'string' } }, required: ['question'] },
};

const fields = (value: unknown): Fields => (typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {});

export class Tools {
  /** True once the list was asked for in this session. */
  told = false;
  private vision: Vision | null = null;

  constructor(private readonly body: Body) {}

  /** The reply to a payload; null where a device stays silent. */
  async answer(payload: unknown): Promise<object | null> {
    const { jsonrpc, id, method, params } = fields(payload) as Request;
    if (jsonrpc !== '2.0' || typeof method !== 'string' || typeof id !== 'number') return null;
    try {
      return { jsonrpc: '2.0', id, result: await this.result(method, fields(params)) };
    } catch (error) {
      const code = error instanceof Refused ? error.code : INTERNAL_ERROR;
      return { jsonrpc: '2.0', id, error: { code, message: error instanceof Error ? error.message : String(error) } };
    }
  }

  private async result(method: string, params: Fields): Promise<object> {
    switch (method) {
      case 'initialize':
        this.learnVision(params);
        return { protocolVersion: '2024-11-05', capabilities: { tools: {} }, serverInfo: { name: 'mimi-browser', version: '1' } };
      case 'tools/list':
        this.told = true;
        return { tools: [STATUS, SET_VOLUME, ...(this.body.photo ? [TAKE_PHOTO] : [])] };
      case 'tools/call':
        return { content: [{ type: 'text', text: await this.call(params.name, fields(params.arguments)) }], isError: false };
    }
    throw new Refused(`Method not implemented: ${method}`, METHOD_NOT_FOUND);
  }

  private learnVision(params: Fields): void {
    const vision = fields(fields(params.capabilities).vision);
    if (typeof vision.url === 'string') this.vision = { url: vision.url, token: typeof vision.token === 'string' ? vision.token : '' };
  }

  private async call(name: unknown, given: Fields): Promise<string> {
    if (name === STATUS.name) return JSON.stringify({ audio_speaker: { volume: this.body.volume() } });
    if (name === SET_VOLUME.name) {
      const volume = given.volume;
      if (typeof volume !== 'number' || !Number.isInteger(volume)) throw new Refused('Missing valid argument: volume');
      if (volume < 0 || volume > 100) throw new Refused('volume must be from 0 to 100');
      this.body.setVolume(volume);
      return 'true';
    }
    if (name === TAKE_PHOTO.name && this.body.photo) {
      if (typeof given.question !== 'string') throw new Refused('Missing valid argument: question');
      if (!this.vision) throw new Refused('The server did not say where photos go', INTERNAL_ERROR);
      return await this.body.photo(given.question, this.vision);
    }
    throw new Refused(`Unknown tool: ${String(name)}`, METHOD_NOT_FOUND);
  }
}
