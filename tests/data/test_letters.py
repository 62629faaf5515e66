"Names of pupils in many languages: short tables without a mark are read as they were written"
import pytest

from gradeclass.data.layout import decode_text

NAMES = {
    "cp1252": ["Müller Jürgen|Weiß Käthe|Schröder", "René Lemaître|Agnès Brûlé|Gaël Forêt", "Nuño Álvarez|Óscar Gómez|Lucía Martín",
               "Sebastião Gonçalves|Júlia Guimarães", "Øystein Håkonsen|Bjørg Sæther|Åge", "Märta Öberg|Göran Åström|Pär",
               "Väinö Mäkelä|Päivi Hämäläinen", "Café|Anaïs|Zoë", "Renée van Noël|Daniël Coördinatie"],
    "mac_roman": ["Müller Jürgen|Weiß Käthe|Schröder", "René Lemaître|Agnès Brûlé|Gaël Forêt", "Nuño Álvarez|Óscar Gómez"],
    "cp850": ["Müller Jürgen|Weiß Käthe|Schröder", "René Lemaître|Agnès Brûlé|Gaël Forêt", "Nuño Álvarez|Óscar Gómez"],
    "cp1250": ["Grażyna Kołodziej|Świętosław Bąk|Zdzisław", "Václav Růžička|Božena Šťastná|Jiřina", "Ľubomír Ďurica|Zuzana Štefánková",
               "Erzsébet Szűcs|László Kőszegi|Ágnes", "Željka Šarić|Ćosić|Đorđe", "Răzvan Mureşan|Mihăiţă Sârbu"],
    "iso8859_2": ["Grażyna Kołodziej|Świętosław Bąk|Zdzisław", "Václav Růžička|Božena Šťastná|Jiřina"],
    "cp852": ["Grażyna Kołodziej|Świętosław Bąk|Zdzisław", "Václav Růžička|Božena Šťastná|Jiřina"],
    "cp1254": ["Gülşah Çelik|Oğuz Aydın|Şükrü Kılıç"], "cp1257": ["Žydrūnas Stankūnas|Šarūnė Lukošiūtė", "Ķirsis Vītols|Āboliņa"],
    "cp1251": ["Дмитрий Щербаков|Ольга Фёдорова|Юрий", "Андрій Мельник|Оксана Гриценко|Євгенія", "Стефан Тодоров|Цветелина"],
    "koi8_r": ["Дмитрий Щербаков|Ольга Фёдорова|Юрий", "ДМИТРИЙ ЩЕРБАКОВ|ОЛЬГА"], "cp866": ["Дмитрий Щербаков|Ольга Фёдорова|Юрий"],
    "mac_cyrillic": ["Дмитрий Щербаков|Ольга Фёдорова|Юрий"], "cp1253": ["Νίκος Βασιλείου|Σοφία Ιωάννου|Χρήστος"],
    "cp1255": ["נועה פרידמן|איתן שפירא|גיא"], "cp1256": ["خديجة العلوي|طارق بن زياد|نور الدين"],
    "cp874": ["กิตติพงษ์ วงศ์ไทย|พิมพ์ใจ ชัยมงคล|ธนา"], "big5": ["蔡依婷|許家豪|鄭雅文|謝承恩", "英語|數學"],
    "gb18030": ["赵子涵|孙浩然|胡雨桐|郭梓萱", "数学|物理|化学"], "cp932": ["斎藤誠|井上陽子|松本大輔|清水", "ハルト|さくら"],
    "euc_jp": ["斎藤誠|井上陽子|松本大輔|清水"], "iso2022_jp": ["斎藤誠|井上陽子|清水"], "cp949": ["한지민|오세훈|서하늘|신동엽", "수학|국어|영어"]}


@pytest.mark.parametrize(("encoding", "names"), [(encoding, names) for encoding, groups in NAMES.items() for names in groups])
@pytest.mark.parametrize("times", [1, 8])
def test_names_are_read_as_they_were_written(encoding, names, times):
    rows = [f"{row},{name},{row % 5},A" for row, name in enumerate(names.split("|")*times)]
    text = "\n".join(["ID,Name,Absences,Grade", *rows])
    read, notes = decode_text(text.encode(encoding), "class.csv")
    assert read == text
    if encoding != "iso2022_jp": assert all(name in notes[0] for name in names.split("|")[:1])
