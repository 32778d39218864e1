"""Characters that the text fonts of devices have, by the name of the character set. Pure.

A device names the set in hello (`text_font.charset`). Sources: the project 78/xiaozhi-fonts, whose build
defines `basic` as ASCII, Latin-1 and the characters of the firmware's own translations, and `common` as
`basic` and every character of a language model's vocabulary that its fonts hold (6,845 characters in the
bundle `noto-v1`, which are these and 18 of the translations); the firmware's description of glyph_push.

What is told here to be there is surely there. The translations change with every firmware, so `basic` is
taken for ASCII and Latin-1 alone; the same holds for a set of another name. A character that the device has
although it is not told here is pushed in vain, which costs bytes: the device searches its own font first.
"""

from functools import lru_cache
from typing import Final

BASIC: Final = frozenset((*range(0x20, 0x7F), *range(0xA1, 0x100)))
"""The characters that every text font has."""


def has(charset: str, character: str) -> bool:
    """True when a font with this set surely has `character`."""
    return ord(character) in (_common() if charset == "common" else BASIC)


@lru_cache(maxsize=1)
def _common() -> frozenset[int]:
    """Made on use: most servers never see a device with a font."""
    points = set(BASIC)
    for part in _COMMON_RANGES.split():
        first, _, last = part.partition("-")
        points.update(range(int(first, 16), int(last or first, 16) + 1))
    for row in range(0xB0, 0xD8):  # level 1 of GB 2312: the 3,755 characters that are used most
        for cell in range(0xA1, 0xFF):
            points.update(map(ord, bytes((row, cell)).decode("gb2312", "ignore")))
    points.difference_update(map(ord, _COMMON_LACKS_OF_LEVEL_1))
    points.update(map(ord, _COMMON_HAN_BEYOND_LEVEL_1), map(ord, _COMMON_HANGUL))
    return frozenset(points)


_COMMON_RANGES: Final = (
    "a0 100-107 109 10c-10d 10f-111 113 115 117-11b 11d 11f 127 129 12b 12e-131 13c 13e 141-142 144 146 "
    "148 14b-14d 14f 151 153 158-15b 15e-161 163 165 169 16b 16d 16f 171 173 17a-17f 192 1a1 1b0 1ce 1d0 "
    "1d2 1d4 219 21b 251-252 254 259 25b 261 263 26a-26b 27e 281 283 28a 28c 292 294 2b0 2b2 2bb-2bc 2bf "
    "2c6-2c8 2cc 2d0 2d9-2da 2dc 300-304 308 30d 323 32f 358 361 384 386 388 390-39d 39f-3a1 3a3-3a9 "
    "3ac-3af 3b1-3ca 3cc-3ce 3d5 3f5 401 403 406 408 40a 410-44f 451-45c 45e 463 493 497 49b 4a3 4af 4b1 "
    "4b3 4bb 4c0 4d9 4e9 60c 61b 61f 621-63a 640-652 654 660-663 66b 679 67e 686 688 691 698 6a4 6a9 6af "
    "6ba 6be 6c0-6c1 6c6-6c7 6cc 6ce 6d0 6d2 6d4-6d5 6f0-6f9 901-903 905-909 90f 914-91c 91e-921 923-928 "
    "92a-930 932-933 935-939 93c-943 947-949 94b-94d 964-970 e01-e02 e04 e06-e0b e0d-e25 e27-e2b e2d-e3a "
    "e40-e44 e46-e4d e50-e55 1e0d 1e25 1e43 1e47 1e5b 1e63 1e6d 1ea1 1ea3 1ea5 1ea7 1ea9 1eab 1ead 1eaf "
    "1eb1 1eb3 1eb7 1ebb 1ebd 1ebf 1ec1 1ec3 1ec5 1ec7 1ec9 1ecb 1ecd 1ecf 1ed1 1ed3 1ed5 1ed7 1ed9 1edb "
    "1edd 1edf 1ee3 1ee5 1ee7 1ee9 1eeb 1eed 1eef 1ef1 1f00 1f04 1f10 1f14 1f21 1f30 1f41 1f45 1f50-1f51 "
    "1f70 1f72 1f74 1f76 1f78 1f7a 1fc6 1fd6 1fe6 1ff6-1ff7 2003 2009 200b 200d 2010-2011 2013-2016 "
    "2018-201a 201c-2022 2024 2026-2027 202c 2030 2032-2033 2039-203c 2044 2062 207b 207f 2081-2082 20ac "
    "20b9 2103 210e 2113 2116 211d 2122 2126 2160-2162 2190-2194 2197-2199 21d2 2200 2202-2203 2205-2208 "
    "2211-2212 2215 221a 221e 2220 2223 2225 2227-222b 2234-2236 2248 2260-2261 2264-2265 2286 2295 2297 "
    "2299 22a5 22ef 232a 2460-2466 2474 2500-2502 251c 2524 252c 2550 2588 258c 2591-2593 25a0-25a1 25aa "
    "25b2-25b3 25b6 25bc-25bd 25c6-25c7 25cb 25ce-25cf 25e6 2605-2606 2640 2642 2665-2666 266a 26a0 2713 "
    "2776-2777 3000-3002 3005 3007-3011 3014-3017 301c 3042 3044 3046 3048 304a-3061 3063-3070 3072-3073 "
    "3075-3076 3078-3079 307b-307c 307e-308d 308f 3092-3093 30a1-30a4 30a6-30bd 30bf-30c1 30c3-30c4 "
    "30c6-30cb 30cd-30ed 30ef 30f3-30f4 30f6 30fb-30fc 33a1 3c55 fb00-fb03 fe30 fe50 fe63 feff ff01-ff02 "
    "ff05-ff06 ff08-ff1f ff21-ff25 ff2d-ff30 ff33-ff34 ff3b ff3d ff3f ff41 ff45 ff49 ff4d-ff4f ff54 ff5c "
    "ff5e ff65 ffe5 fffd"
)
"""Letters, marks, symbols, kana and wide forms of `common`, in hexadecimal."""

_COMMON_LACKS_OF_LEVEL_1: Final = (
    "仟佯佰侩傈僳刽剐厩叁唁埂堑墒孪岿恫恿扦抡拄挎挞捌捎掇掣掳掸揩搔搪搽摈撂撅撵擞攫斡柞桅梆椽榷橇檄毖氖氦"
    "沏沤泅泞涪涸淖滁滓滦潞潦烩獭珐瓤甭畦疥瘁瘴瘸皑盅矽砒砧硷碉碴稗笆箩篓篙纫绦缄耪肄腆膘臃舀舷苫菏蓑蓖蓟"
    "蔫藐虱蚜蚤蛆蛔蛹螟袒誊讣讫诌谆谗谩谰豢豺貉赊踌蹋蹿躇郧郴酗酞钎钒钡铆铡铱锑锗锨锹镊镐镣镭阂阉靛颧饯馁"
    "驮骡鬃鳃鸵黍龋"
)
"""Characters of level 1 that `common` has not."""

_COMMON_HAN_BEYOND_LEVEL_1: Final = (
    "丐丕丞丟両並丨丶乗亂亘亞亟亵仄仏仮伝伽佈佔佚佟併佼侃來価係俑俟俠俨俸俾倆倉個倏們値倩倫倭偃偉偌偎偕側"
    "偵偽傑備傢傳債傷傾僅働僕價儀億儘償優儲兀兇児兒內兩兮円冇冊冢冥冽凈凍処凱別刪則剌剛剤創劃劇劉劍劑労効"
    "劾勁動務勝勞勢勵勸勻匕匮匯匾區協単卦卻卽厥厭厮厲參収叟叢叨叩叱叽吆吒吡吳呂呃呗呤呦呱咄咔咚咦咧咪咫哒"
    "員哧哽唏唑唔唠唧唰問啓啟啧啬啰啶啾喃喋喔喚喪喬單喵営喽嗎嗒嗔嗖嗚嗤嗦嗨嗪嗬嗯嗷嘀嘅嘆嘈嘌嘗嘚嘟嘭嘯噓"
    "噔噗噜噢噩噴噼嚇嚓嚴囔団囲図國圍園圓圖團圧圩圳坂坨執堅報場塊塗塩塵塾増墜壇壑壓壞壯売壽変夙夠夢夥夭夾"
    "奕奚奧奪奮妃妍妝妞妤妩妳妾姊姗姝姣娅娆娓娛娲娴婕婢婦婧婵婷媛媲媽嫔嫖嫣嫦嬉嬌嬰嬴嬷孚孢孫學宕実宮宸實"
    "寧審寫寬寰寵寶対専將專尋對導尬尴尷屆屍層屬岐岑岚岡岱峥島崗崛崽嵐嵘嵩嶺巅巔巻帥師帯帰帳帶帷帼幡幣幫幹"
    "幺幾広庫庵廚廟廠廢廣廳廿弁弈弋弑弩張強弼彆彈彌彎彙彥彷彿後徑従徙從復徳徴徵徹忏忐忑忒忖応忡怅怡怼恆恙"
    "恣恪恺悅悖悚悪悴悶惆惘惚惡惬惱愕愛愣態慘慣慮慵慶憂憐憑憔憤憧憩憬憲憶應懵懶懷懸懼懿戀戛戟戦戰戲戶戸戻"
    "戾扈扉扱抜択拋拗拚拡拮挙捋捨捲捺掃掙掛採掰掲揚換揮損搖搶摁摂摒撃撐撥撫撲撸擀擁擇擊擋擔據擠擬擴擺擾攔"
    "攜攝攤攥攸敕敗敘敵數斐斓斛斬斷於旌旳昀昇昊昕昙昱昵晁時晉晏晔晖晗晟暄暈暢暧暨暫曆曉曜曦曬書會朕朦杞東"
    "杵枭枳枸柚査栀栄栩栾桀桁桡桢桦桿梓條梵棄棟棣検楂楊楓楠業極楹楽榄榕榮榻槃構槍様槟槿樂樓標樣権樵樹橄橋"
    "橘機橫檐檔檢櫃櫻欄權歆歎歐歡歩歯歲歳歴歷歸殇殘殡殺殼毀毂毎毓気氣汴汶決沅沌沐沒沓沖沢況泓泗泠泯泸泾洵"
    "浏浒浜浣涓涼淅淇淚淨淩淵淺淼済渎渚減測渲渾湊湧湮湯満準溝溟溥溫溴滅滕滾滿漁漉漕漢漩漪漲漸漿潇潔潛潢潤"
    "潰潺潼澤澹濃濕濟濡濤濮濾瀏瀚瀛瀾灑灣災炖炜炫為烏烨焖無焯焱焼煉煙煜煦煩煲熠熨熱熵熹燈燒營爐爛爭爲爺爻"
    "爾牆牠牽狀狩猕猝猥猶獄獅獎獨獲獵獸獻玥玮玺珀珂珏珑珞珩現琛琥琦琪琰瑕瑙瑛瑜瑤瑪瑾璀璇璋璐璞璟璧璨環產"
    "産甬町畢畫異當疊疝疱疸痂痣痫痿瘀瘋瘘瘙瘠瘾療癖癜癫発發皎皓皙皺盜盡監盤盧眈県眞眸眾睐睑睜睾睿瞟瞭瞰瞿"
    "矜矶砥砺碩確碼磚礎礙礦礴祀祂祉祐祛祠祯祺禀禅禍禦禧禪禮禺稅稣種稱稷穀積穎穩穫穹窦窩窮競竺笃笙笠筆筝筠"
    "筱筵箫節範築簡簪簸簽籁籃籌籠粑粼粽糧糾紀約紅紋納紐純紗紙級紛紮細紹終組経結絕絡給統絲絵絶綁經継続綜綠"
    "綫維綱網綿緊総緒線緣編緩練緻縣縫縮縱總績織繞繩繪繫繰繳繼續纏纔纖纣绛绫绮绯绾缈缤缪缭罡罰罵罷罹羁羅羟"
    "羣羧羨義羯羲羿翊翎習翡翩耦聆聖聞聯聰聲職聽聿肅肱肴肽胤胥胧胫胭胱脅脈脘脫脳脹腌腎腓腦腫腱腳腸膈膚膠膩"
    "膺膽臉臓臟臥臧臨臺與興舉舊艦艮艱芊芎芙芩芪芮芷芸苒苓苷茉茗茜茯茱茲荀荟荼莅莊莓莘莞莺菁華萃萊萦萬萱萸"
    "萼葆葉葩蒼蒿蓁蓋蓓蓦蓮蔣蔵蔺蔻蕃蕙蕩蕭薇薏薑薦薩薬薰藍藝藥蘇蘊蘋蘭蘿虔處虛號虧蚓蚝蛟蜓蜥蜷蜻蜿蝕蝙蝠"
    "蝦螂螃螨蟆蟒蟠蟲蟾蠻衆術衛衝衢袅裏裘補裝裡製複褚褲褶襲覃見規視覚覧親観覺覽觀觑觸訂計訊討訓託記訝訟訣"
    "訪設許訳訴診註証詐評詞詢試詩詭話該詳誇誌認誕誘語誠誤說説読誰課調談請論諧諷諸諾謀謂謙講謝謹證識譜譯議"
    "護譽讀變讓讚讪讷诃诏诠诶谏谒谕谙谛谟谧豈豊豐豚豬貂貓貝貞負財貢貧貨販貪貫責貴買貸費貼貿賀資賈賊賓賜賞"
    "賠賢賣賦質賬賭賴賺購賽贈贊贏贻赈趕趙趨跄跡跤跷跻踉踐踝踱踵踹蹊蹙蹤躍軀車軌軍軒軟転軸軽較載輔輕輛輝輩"
    "輪輯輸轉轟轶轼辄辍辦辭辯農辺込迥迦迴逅逍這連週進遊運過遐達違遙遛遞遠適遲遴遷選遺邁邂邃還邊邏邸郵鄉鄧"
    "鄭鄰酐酯酰醫醬釋針釣鈴鉄鉛銀銅銘銳銷鋒鋪鋼錄錢錦錫錯録鍊鍋鍛鍵鍾鎖鎮鏈鏡鐘鐵鑄鑑鑫鑽钊钗钛钰钴铎铛铠"
    "铮铵铿锂锢锵镂镖镯長門閃閉開閑閒間関閣閥閱閲闆闊闖關闫闵阈阖阙阪阱陂陣陰陳陸険陽隊階際隨險隱隻隽雑雖"
    "雙雜雞離難雯雲雳電霁霆霎霏霧霾靈靓靜韋韓韬韻響頁頂頃項順須預頑頓頗領頭頸頻頼顆題額顏顔願類顧顫顯颌颔"
    "風飄飒飙飛飯飲飼飽飾餅養餓餘館饒饪饷馀馍馥馨馬馮駁駅駐駕駛騎験騙騰驅驕驗驚驟驿骁骥骶骷骼髅髋體髙髦髮"
    "髻鬆鬓鬟鬥鬧鬱魅魚魯鮮鲨鲫鲲鳄鳌鳍鳗鳥鳳鳴鴦鴨鴻鵬鶴鷹鸠鸢鸾鹉鹦鹭鹽麒麗麝麟麥麵麼麽麾黃黏黒黛黝點黨"
    "黯齊齒齡齢龈龍龐龜"
)
"""Characters of `common` used in Chinese and Japanese that are not of level 1."""

_COMMON_HANGUL: Final = (
    "가각간갈감값강갖같개객거건걸검것게겠겨격견결경계고곡곳공과관광교구국군권규균그극근글금급기길김까께끝"
    "나난날남났내너널넘네녀년념노논농높누눈느는늘능니님다단달담답당대더던데델도독돌동되된될됩두뒤드득든들"
    "등디따때떤떻또뜻라락란람랑래랜램략량러런럼럽렇레려력련렬령례로록론료루류률르른를름리릭린림립링마막만"
    "많말망맞매머먹메며면명몇모목못무문물므미민밀및바박반받발방배백버번범법베변별병보복본볼부북분불브블비"
    "빠사산살삶삼상새색생서석선설성세센션소속손송수순술숫쉽스습승시식신실심십싶써쓰씨아악안않알암았앙앞애"
    "액야약양어억언얻얼업없엇었에여역연열염였영예오온올와완왕외요용우운울움워원월위유육율으은을음응의이익"
    "인일읽임입있자작잘잡장재쟁저적전절점접정제젝져졌조족존종좋주죽준줄중즈즉즘증지직진질집징짜째쪽차착찰"
    "참창찾채책처천철첫청체쳐초총최추축출충취츠측층치칙친칠침카커컴케코크큰클키타탄탈탐태택터턴테템토통투"
    "트특티팅파판패퍼페편평포표품퓨프플피필하학한할함합항해했행향허험현혈협형호화확환활황회획효후희히"
)
"""Korean syllables of `common`."""
