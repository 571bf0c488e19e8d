"""The built-in dataset: drawn people, written in the layouts of Market-1501 and COCO.

looks.py          who a person is: attributes, colours, build; near-twins
body.py           how a person stands and moves: joint angles to 18 keypoints in space
people.py         how that is dressed and drawn
scenes.py         six cameras: backdrop, light, occluders, sensor
reid_set.py       the re-ID set in Market-1501's layout, with market_attribute.mat
pose_set.py       the pose set in COCO's layout
dataset.py        both in one folder
parallel.py       drawing on all cores
contact_sheet.py  people x cameras on one page, with their attributes
"""
