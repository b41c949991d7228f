"""Simplified and traditional Chinese, character by character, for testing a model with the other.

A table of common characters and not a converter: where one simplified character stands for several
traditional ones, the one that customers and headlines use more is taken (發 and not 髮), and words
that differ (软件, 軟體) stay. Good enough to see whether a model reads both, not to publish with.
"""

_SIMPLIFIED = (
    "爱罢备贝笔币毕边变标别宾饼补财参残仓层产长尝偿厂车彻尘陈称惩迟丑础处传创词从达带贷单担当"
    "档导灯邓敌递点电东动断对队顿夺尔发饭飞费坟丰风妇复负赶刚岗个给宫贡构购顾关观馆惯广归规贵"
    "国过还汉号贺红后护华话画怀坏欢环换黄会汇获货击积极际继纪记济价间简见将奖讲较阶节紧进经惊"
    "静旧剧据觉决绝军开课库块宽亏扩蓝览劳乐离礼历丽连联练粮两辆谅疗邻临灵领龙楼录陆虑乱论罗妈"
    "马买卖满门们梦弥秘绵灭鸣难脑闹鸟农诺欧盘赔喷贫凭评扑铺齐骑启气签钱浅强墙桥亲轻倾请庆穷区"
    "权劝确让热认荣软伤赏烧设审声胜师时实识势试视适释寿书属术数帅双税顺说丝苏虽随岁损缩态谈汤"
    "讨题条铁听厅头图团脱网为伟卫维问务误习戏吓显险现线乡响项销协谢续选学寻训压亚严验养样药业"
    "页医仪亿义议异艺应营优邮与语员园远愿约阅云运杂载则责择贼赠债战张账涨帐这针侦诊阵镇证织职"
    "执纸质种众专转装状准资总组钟终肿骤么订询没无锁错钥银壶冻净炼冲铜锡诉诞罚调润额户监场办许"
    "闭丢叶烦码减挂几铝钢盖遗踪闪湿揽尴链废纯赎驳圣赚稳毁钮检级体兰征该万来写尽报拟栏渐灾炉独"
    "窃类纠纤纲纳纵纷细结络统绩绿编缓缘缴脚脸范荐蚀触计讯访诈译诚详读谁谨贩贪贴贸赞赢趋跃践轮"
    "输迈里锅闻阳隐顶须预频颜饮驱驶骗鱼鸡树"
)
_TRADITIONAL = (
    "愛罷備貝筆幣畢邊變標別賓餅補財參殘倉層產長嘗償廠車徹塵陳稱懲遲醜礎處傳創詞從達帶貸單擔當"
    "檔導燈鄧敵遞點電東動斷對隊頓奪爾發飯飛費墳豐風婦復負趕剛崗個給宮貢構購顧關觀館慣廣歸規貴"
    "國過還漢號賀紅後護華話畫懷壞歡環換黃會匯獲貨擊積極際繼紀記濟價間簡見將獎講較階節緊進經驚"
    "靜舊劇據覺決絕軍開課庫塊寬虧擴藍覽勞樂離禮歷麗連聯練糧兩輛諒療鄰臨靈領龍樓錄陸慮亂論羅媽"
    "馬買賣滿門們夢彌祕綿滅鳴難腦鬧鳥農諾歐盤賠噴貧憑評撲鋪齊騎啟氣簽錢淺強牆橋親輕傾請慶窮區"
    "權勸確讓熱認榮軟傷賞燒設審聲勝師時實識勢試視適釋壽書屬術數帥雙稅順說絲蘇雖隨歲損縮態談湯"
    "討題條鐵聽廳頭圖團脫網為偉衛維問務誤習戲嚇顯險現線鄉響項銷協謝續選學尋訓壓亞嚴驗養樣藥業"
    "頁醫儀億義議異藝應營優郵與語員園遠願約閱雲運雜載則責擇賊贈債戰張賬漲帳這針偵診陣鎮證織職"
    "執紙質種眾專轉裝狀準資總組鐘終腫驟麼訂詢沒無鎖錯鑰銀壺凍淨煉沖銅錫訴誕罰調潤額戶監場辦許"
    "閉丟葉煩碼減掛幾鋁鋼蓋遺蹤閃濕攬尷鏈廢純贖駁聖賺穩毀鈕檢級體蘭徵該萬來寫盡報擬欄漸災爐獨"
    "竊類糾纖綱納縱紛細結絡統績綠編緩緣繳腳臉範薦蝕觸計訊訪詐譯誠詳讀誰謹販貪貼貿贊贏趨躍踐輪"
    "輸邁裡鍋聞陽隱頂須預頻顏飲驅駛騙魚雞樹"
)
_TO_TRADITIONAL = str.maketrans(_SIMPLIFIED, _TRADITIONAL)
_TO_SIMPLIFIED = str.maketrans(_TRADITIONAL, _SIMPLIFIED)


def to_traditional(text: str) -> str:
    """The text with common simplified characters in their traditional form.

    >>> to_traditional("我的退款什么时候到账")
    '我的退款什麼時候到賬'
    """
    return text.translate(_TO_TRADITIONAL)


def to_simplified(text: str) -> str:
    """The text with common traditional characters in their simplified form.

    >>> to_simplified("訂單還沒到")
    '订单还没到'
    """
    return text.translate(_TO_SIMPLIFIED)
