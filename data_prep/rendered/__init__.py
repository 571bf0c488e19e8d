"""The synthetic dataset: drawn people, written in the layouts of Market-1501 and COCO.

looks.py          a person's attributes, colours and build; near-twins
body.py           stances: joint angles to 18 keypoints in space
meshes.py         rings, ellipsoids, capsules, boxes
people.py         the mesh of a dressed person
figures.py        how a mesh is drawn; which keypoints are visible
cameras.py        a table of six cameras
backdrops.py      the empty scene of each camera
occluders.py      objects in front of people
paint.py          shapes and colours of backdrops and occluders
scenes.py         one picture: backdrop, people, occluders, sensor
reid_set.py       the re-ID set in Market-1501's layout, with market_attribute.mat
pose_set.py       the pose set in COCO's layout
dataset.py        both sets in one folder
parallel.py       drawing in several processes
contact_sheet.py  people x cameras on one page, with their attributes
"""
